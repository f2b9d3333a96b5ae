"""The program `direp`: settings and presets, run folders, figures, commands."""
