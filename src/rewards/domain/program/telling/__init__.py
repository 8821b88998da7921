"""What a program document says, told to people: one module for each section of the rendered document."""
