import unmask.parts

TASKS: unmask.parts.Parts

__all__ = [
    "TASKS",
]
