"""Member tokens: mint and revoke them, and say from which web pages they may be used."""
