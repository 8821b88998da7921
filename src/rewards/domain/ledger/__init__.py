"""The double-entry ledger, pure: operations take a wallet draft and leave transactions behind."""
