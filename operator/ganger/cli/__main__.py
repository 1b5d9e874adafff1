"""`python -m ganger.cli` is `ganger`, and this is where it begins, so that Ctrl-C is heard from here on."""

import sys

INTERRUPTED = 130  # Code.INTERRUPTED, before there is a module to say so


def main() -> None:
    """Run the command of sys.argv and exit with its code; no traceback either where Ctrl-C meets the loading of it."""
    try:
        from ganger.cli.main import run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)
    sys.exit(run())


if __name__ == "__main__":
    main()
