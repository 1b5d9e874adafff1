"""`python -m ganger_session`: the command of a session's pod."""

from ganger_session.supervisor import main

main()
