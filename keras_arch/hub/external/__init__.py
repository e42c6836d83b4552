"""Repositories of other libraries, converted when they are loaded."""
