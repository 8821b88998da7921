"""Turns a document into a compiled program, part by part; each part reports all of its mistakes."""
