"""Everything that one request may read: routes, flags, holds, limits, one revision; immutable."""
