"""The program document: its grammar, its compiled form, and what one can ask of it before it is published."""

from rewards.domain.program.check import Report, check, check_bytes
from rewards.domain.program.compile import InvalidProgram, compile_program
from rewards.domain.program.read import Source, Unreadable, read_document

__all__ = [
    "InvalidProgram",
    "Report",
    "Source",
    "Unreadable",
    "check",
    "check_bytes",
    "compile_program",
    "read_document",
]
