"""`python -m ganger.cli` is `ganger`."""

from ganger.cli.main import main

if __name__ == "__main__":
    main()
