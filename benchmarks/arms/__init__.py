"""What is measured: one module per library, run in a child process, all behind the same session interface."""
