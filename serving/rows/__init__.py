"""Reading a row of several digits in a picture: geometry, no HTTP."""
