"""`python -m ganger_trainer`: the entry point of a worker pod."""

from ganger_trainer.supervisor import main

if __name__ == "__main__":
    main()
