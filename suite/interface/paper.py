"""Where a method comes from: one record, read as text and as BibTeX."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A published source.

    Attributes:
        authors: Full names joined by "and", in the order of the title page.
        title: As printed.
        venue: Short name of the conference or journal; empty for a preprint.
        year: Of the venue, or of the preprint.
        arxiv: Identifier on arXiv, such as ``2203.08679``; empty when it is not there.
        volume: Of a journal; empty when the venue is a conference.
        number: Of the issue within the volume.
        pages: In that volume, such as ``8183--8195``.
    """

    authors: str
    title: str
    venue: str = ""
    year: int
    arxiv: str = ""
    volume: str = ""
    number: str = ""
    pages: str = ""

    def __str__(self) -> str:
        first, *others = (name.rpartition(" ")[2] for name in self.authors.split(" and "))
        who = f"{first} et al." if len(others) > 1 else " and ".join([first, *others])
        where = f"{self.venue} {self.year}".strip()
        return f"{who}: {self.title}, {where}{f' (arXiv {self.arxiv})' if self.arxiv else ''}"

    def bibtex(self, key: str) -> str:
        """The BibTeX entry.

        Args:
            key: Its citation key.

        Returns:
            The entry, several lines.
        """
        fields = {"author": self.authors, "title": f"{{{self.title}}}"}
        if self.venue:
            fields["journal" if self.volume else "booktitle"] = self.venue
        for name in ("volume", "number", "pages"):
            if value := getattr(self, name):
                fields[name] = value
        fields["year"] = str(self.year)
        if self.arxiv:
            fields |= {"eprint": self.arxiv, "archiveprefix": "arXiv"}
        kind = "article" if self.volume else "inproceedings" if self.venue else "misc"
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
        return "\n".join([f"@{kind}{{{key},", *lines, "}"])
