"""``python -m unmask``: the command line."""

from unmask.cli import main

# Worker processes that spawn import this file again and must not start a second program.
if __name__ == "__main__":
    main()
