"""Lines that websites and mailers put around a text, removed.

A line counts only as a whole and only when it is short, so that a sentence about cookies or a question how to
unsubscribe stays.
"""

from __future__ import annotations

import re

from cluster.config.stages.clean import BoilerplateStage
from trainers.data.record import Record
from trainers.data.stages.base import RowStage, StageContext
from trainers.data.stages.clean.fences import mark_code

LONGEST_LINE = 300
"""Characters of a line that may still be boilerplate."""

COOKIES = (
    r"(by (continuing|using|browsing) .{0,60})?(we|this (web)?site|our (web)?site) uses? cookies\b.*",
    r"by (continuing|browsing|using) .{0,80}(cookies|terms of (use|service)|privacy policy).*",
    r"(accept|allow|reject|decline|manage)( all| necessary)? (cookies|cookie (settings|preferences))",
    r"cookie (policy|settings|preferences|notice|consent)",
)
NAVIGATION = (
    r"(skip|jump) to (the )?(main )?(content|navigation|search)",
    r"(home|about( us)?|contact( us)?|products|services|blog|news|faq|login|sign in|sitemap|search|menu|shop|cart)"
    r"( *[|>»·•/] *[\w &'’-]{1,25}){2,}",
    r"(toggle|open|close|show|hide) (the )?(navigation|menu|sidebar)",
    r"(back to top|share this( (post|article|page))?|print this page|e-?mail this( article| to a friend)?|read more\W*|"
    r"continue reading\W*|load more|show more|leave a (comment|reply)|post a comment|(previous|next) (post|article|page))",
    r"(share|tweet|pin it|like us|follow us)( (on|via) (facebook|twitter|x|pinterest|linkedin|instagram|whatsapp|e-?mail)"
    r"(,? ?(and|&|\|)? ?(facebook|twitter|x|pinterest|linkedin|instagram|whatsapp|e-?mail))*)\W*",
    r"(posted|filed|published) (in|under|by|on):? .{1,60}\|.{1,80}",
    r"\d+ (comments?|shares?|likes?|views?)",
    r"(sign up|subscribe|register)( now| today)? (for|to) (our|the) (free )?(weekly |daily |monthly )?(newsletter|mailing list)\b.{0,80}",
    r"(advertisement|sponsored( content| links?)?)",
)
LEGAL = (
    r"(copyright|©|\(c\))[\s©(c)]*(19|20)\d\d\b.{0,100}",
    r"all rights reserved\W*",
    r"(privacy policy|terms (of (use|service)|and conditions|& conditions)|imprint|impressum|legal notice|disclaimer)"
    r"( *[|·•/&,] *[\w &'’-]{1,30})*",
    r"(powered|proudly powered) by (wordpress|blogger|shopify|wix|squarespace|drupal|joomla)\b.*",
)
MAILING = (
    r"(click here to |to |you can )?unsubscribe( here| now| at any time)?"
    r"((,)? (from (this|our|these) .{1,40}|(please )?click (here|the link|below)\b.{0,60}))?\W*",
    r"(if you )?(no longer|don[’']t|do not) (wish|want) to receive (these|this|our|further|such) (e-?mails?|messages?|newsletters?)\b.*",
    r"(view|read) (this )?(e-?mail|message|newsletter) in (your|a) (web )?browser\W*",
    r"(manage|update) (your )?(e-?mail |subscription )?preferences\W*",
    r"you (are receiving|received) this (e-?mail|message|newsletter) because\b.*",
    r"sent from my (iphone|ipad|android|samsung|galaxy|blackberry|mobile)\b.{0,40}",
    r"this (e-?mail|message)( and any attachments)? (is|are|may be|may contain) (intended|confidential|privileged)\b.*",
)
SPAM = (
    r"(click|tap|visit|order|buy|call|act|apply|register|download|shop) (here|now|today|below)\b.{0,80}https?://\S+.{0,40}",
    r".{0,80}https?://(bit\.ly|tinyurl\.com|goo\.gl|t\.co|ow\.ly|is\.gd|adf\.ly|cutt\.ly|shorturl\.at)/\S+\W*",
    r"(https?://\S+\s*){3,}",
    r".{0,60}\b(100% free|risk[- ]free|limited[- ]time offer|act now|buy now|order now|cheap (viagra|cialis|meds)|"
    r"online (casino|pharmacy)|work from home)\b.{0,80}https?://\S+.{0,20}",
)
BUILTIN = COOKIES + NAVIGATION + LEGAL + MAILING + SPAM


class Boilerplate(RowStage[BoilerplateStage]):
    """Removes lines, and rejects rows that they made up."""

    def __init__(self, config: BoilerplateStage, context: StageContext) -> None:
        super().__init__(config, context)
        wanted = (*(BUILTIN if config.builtin else ()), *config.patterns)
        self.patterns = [re.compile(pattern, re.IGNORECASE) for pattern in wanted]

    def __call__(self, records: list[Record]) -> list[Record]:
        for record in records:
            before = record.texts(self.config.roles)
            if not record.map_texts(self.remove, self.config.roles):
                continue
            after = record.texts(self.config.roles)
            left, all_of_it = sum(map(len, after)), sum(map(len, before))
            emptied = sum(1 for old, new in zip(before, after, strict=True) if old.strip() and not new.strip())
            if emptied or left < self.config.min_share_left * all_of_it:
                record.reject(f"little is left without boilerplate ({left} of {all_of_it} characters)")
        return records

    def remove(self, text: str) -> str:
        """The text without lines of boilerplate."""
        kept = [line for line, is_code in mark_code(text.split("\n")) if is_code or not self.is_boilerplate(line)]
        return text if len(kept) == text.count("\n") + 1 else "\n".join(kept).strip("\n")

    def is_boilerplate(self, line: str) -> bool:
        """Whether a pattern matches the whole line."""
        bare = line.strip(" \t*#>[]()-•|_\u00a0")
        return 0 < len(bare) <= LONGEST_LINE and any(pattern.fullmatch(bare) for pattern in self.patterns)
