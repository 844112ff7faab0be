"""`python3 -m pages`: writes the generated pages of docs/ anew."""

from __future__ import annotations

from . import api


def main() -> None:
    for page, text in api.written().items():
        if not page.exists() or page.read_text() != text:
            page.write_text(text)
            print(page.relative_to(api.ROOT))


if __name__ == "__main__":
    main()
