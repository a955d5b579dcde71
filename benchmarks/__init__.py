"""Measurements that back the figures in the README: each module prints a table and is run by a target of make."""
