from .program.cli import main

main()
