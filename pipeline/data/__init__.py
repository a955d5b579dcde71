"""Images: from picture files and archives to arrays."""
