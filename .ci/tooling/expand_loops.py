"""Prints a template with its loops expanded: ``python -m tooling.expand_loops TEMPLATE``.

Some scanners do not look into ``Fn::ForEach``. Parameters have their defaults, except for two destinations.
"""

import json
import sys
from pathlib import Path

from tooling.template_yaml import expand, load_template


def main() -> int:
    template = load_template(Path(sys.argv[1]).read_text(encoding="utf-8"))
    json.dump(expand(template, Destinations="default,second"), sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
