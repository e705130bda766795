"""Writes a template as it is after its transform: ``python -m tooling.expand_loops TEMPLATE``.

For scanners that do not look into loops. Parameters have their defaults, but for two destinations.
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
