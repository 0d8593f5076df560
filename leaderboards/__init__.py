"""Leaderboards: runs side by side where they may be compared, apart where they may not."""
