"""The limits on rows of digits; together they limit the time that reading one takes."""

from typing import Final

MAX_DIGITS: Final = 32  # in a picture
MAX_SEGMENTS: Final = 8  # per digit
MAX_CUTS: Final = 48  # in a picture, those of least cost
