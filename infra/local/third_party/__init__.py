"""A stand-in for the API of a third party: logins, tokens that expire, and everything that goes wrong."""

from infra.local.third_party.accounts import Accounts
from infra.local.third_party.server import Received, ThirdParty

__all__ = ["Accounts", "Received", "ThirdParty"]
