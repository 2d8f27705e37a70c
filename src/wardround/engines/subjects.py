"""Name the subjects and streams of a study on a hub, and what each party may do with them.

A *slot* is a place for one site: an account of its own on the hub, made beforehand, into which a key is put when the site joins. A site
reaches nothing but what its account imports: its own tasks, the study's parts, its own reply, its own uploads, its beat. Every
subject names the study, so that studies stay apart.
"""

from __future__ import annotations

from dataclasses import dataclass

TASKS, PARTS, REPLIES = "TASKS", "PARTS", "REPLIES"


def slot_name(number: int) -> str:
    """Return the name of a slot, from 1."""
    return f"slot{number:03d}"


@dataclass(frozen=True)
class Subjects:
    """Name everything of one study.

    Attributes:
        study: name of the study; a dot, which would end a token of a subject, is written as a tilde.
    """

    study: str

    @property
    def root(self) -> str:
        """Return what every subject of the study begins with."""
        return f"wr.{self.study.replace('.', '~')}"

    def task(self, slot: str) -> str:
        """Return where a site's tasks are put."""
        return f"{self.root}.task.{slot}"

    def reply(self, slot: str) -> str:
        """Return where a site replies."""
        return f"{self.root}.reply.{slot}"

    def beat(self, slot: str) -> str:
        """Return where a site says that it is there."""
        return f"{self.root}.beat.{slot}"

    def join(self, slot: str) -> str:
        """Return where an invited site asks to be let in."""
        return f"{self.root}.join.{slot}"

    @property
    def parts(self) -> str:
        """Return under what the parts lie that the coordinator gives to all sites."""
        return f"{self.root}.part"

    def uploads(self, slot: str) -> str:
        """Return under what a site puts the parts of its update."""
        return f"{self.root}.up.{slot}"

    @staticmethod
    def uploads_stream(slot: str) -> str:
        """Return the stream of a site's uploads: one a site, so that nobody can fill the place of another."""
        return f"UP_{slot}"

    def site_may_publish(self, slot: str) -> tuple[str, ...]:
        """Return every subject on which the site in a slot may publish; it may listen on its own inbox only."""
        return (*self.services(slot), self.join(slot))

    def services(self, slot: str) -> tuple[str, ...]:
        """Return what a site's account takes from the hub's: each is a request that the hub or the coordinator answers."""
        return (
            f"$JS.API.CONSUMER.MSG.NEXT.{TASKS}.{slot}",
            f"$JS.ACK.{TASKS}.{slot}.>",
            f"$JS.API.DIRECT.GET.{PARTS}.{self.parts}.>",
            self.reply(slot),
            f"{self.uploads(slot)}.>",
            self.beat(slot),
        )

    def exports(self) -> tuple[tuple[str, bool], ...]:
        """Return what the hub's account offers, each with whether it may answer in several messages."""
        return (
            (f"$JS.API.CONSUMER.MSG.NEXT.{TASKS}.*", True),
            (f"$JS.ACK.{TASKS}.>", False),
            (f"$JS.API.DIRECT.GET.{PARTS}.>", True),
            (self.reply("*"), False),
            (f"{self.root}.up.>", False),
            (self.beat("*"), False),
            (self.join("*"), False),
        )


def inbox(owner: str) -> str:
    """Return the prefix of a party's own inbox."""
    return f"_INBOX.{owner}"
