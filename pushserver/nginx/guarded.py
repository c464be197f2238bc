"""The parts of an nginx configuration that ask Django who may listen."""

from __future__ import annotations

from pushserver.conf import SubscriberLocation
from pushserver.view_paths import find_view_path

from .configuration import Configuration
from .writer import literal

#: What nginx removes from a path, decodes, or ends it at: then the view would be asked
#: about another channel than the one that Nchan serves.
AMBIGUOUS = r"//|/\.|%2e|%2f|#"


class GuardedConfiguration(Configuration):
    """A configuration whose subscriber locations may restrict who listens.

    Before each request, nginx asks a view of the site (``auth_request``), which gets
    the client's headers.
    """

    def can_guard(self, place: str, location: SubscriberLocation) -> bool:
        """Return whether nginx can ask who may listen; if not, write a warning."""
        kind = "authorize" if location.authorize else "signed"
        if location.passthrough:
            why = "beside 'passthrough'"
        elif self.find_view() is None:
            why = (
                "because the site has no view that decides: put"
                " path('passthrough', include('pushserver.urls')) into its URLs"
            )
        else:
            self.out.warn(
                f"{place}[{kind!r}]",
                "is asked for when a request begins. It does not end when the right"
                " does; revoke() and 'reauthorize' have no effect; and who may not"
                " listen to one of several channels is refused. The push server keeps"
                " all of this, behind nginx too: see --proxy.",
            )
            return True
        self.out.warn(
            f"{place}[{kind!r}]",
            f"cannot be kept here {why}, so nobody may listen at this location.",
        )
        return False

    def find_view(self) -> str | None:
        """Return the path of the view that decides, None if the site has none."""
        return find_view_path("authorize")

    def write_guard(self, location: SubscriberLocation) -> None:
        """Write that the view decides about each request to a location."""
        out = self.out
        name = "authorize" if location.authorize else "signed"
        out.comment(f"{name!r}: Django decides who may listen.")
        pattern = AMBIGUOUS
        if location.separator is not None:
            pattern += f"|%{ord(location.separator):02x}"
        with out.block(f'if ($request_uri ~* "^[^?]*({pattern})")'):
            out.line("return 403;")
        out.line(f"auth_request {self._question(location)};")
        if location.signed:
            out.comment("Tokens in URLs must not stand in a log.")
            out.line("access_log off;")

    def write_question(self, location: SubscriberLocation) -> None:
        """Write the internal location that asks the view about a request."""
        out, path = self.out, self.find_view()
        assert path is not None, "By can_guard()."
        index = self.conf.locations.index(location)
        out.line("")
        with out.block(f"location = {self._question(location)}"):
            out.line(
                "internal;",
                # Requests with other methods are answered without a message.
                "if ($request_method != GET) { return 204; }",
                f"proxy_pass {literal(f'http://django{path}?location={index}')};",
                "proxy_pass_request_body off;",
                'proxy_set_header Content-Length "";',
                'proxy_set_header Connection "";',
                'proxy_set_header Upgrade "";',
                "proxy_set_header X-Original-URI $request_uri;",
                *self.proxy_headers(),
            )

    def _question(self, location: SubscriberLocation) -> str:
        """Return the path of the internal location for the question."""
        return f"/_pushserver/authorize/{self.conf.locations.index(location)}"
