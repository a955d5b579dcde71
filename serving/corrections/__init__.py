"""Corrections by users: what a wrong answer should have been, stored in a folder until somebody reviews it."""
