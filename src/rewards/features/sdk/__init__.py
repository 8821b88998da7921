"""The browser SDK: one small script, served from here."""
