"""`python -m actiond`: the command line, where its script is not on the PATH."""

from actiond.cli.main import main

raise SystemExit(main())
