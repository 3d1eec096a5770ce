"""The record: one table of attributes, and what is made of it (messages, JSON lines, documentation).

Everything here is pure: no sockets, no clock, and files are read only to learn which host this is.
"""
