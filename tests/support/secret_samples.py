"""Secrets to be masked."""

# Made up, in the form of real ones.
BOT_TOKEN = "MTE3NzE5ODM0MjM0MzQzMDA4NDI.GabcdE.0123456789abcdefghij-_KLMNOPQRSTUVWXYZ"
INTERACTION_TOKEN = "aW50ZXJhY3Rpb246OTM4ODM2MjMwMTQ0MDM2ODY0OnBsYWluLWZha2U"
WEBHOOK = "https://discord.com/api/webhooks/127121515262115840/Zyxw-vutsrqponmlkjihgfedcba_9876543210"
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SESSION_TOKEN = "IQoJb3JpZ2luX2VjEHoaCXVzLWVhc3QtMSJHMEUCIQ//8pb9+x0rKwT38xVqr7ZD0u0iPP=="
SIGNATURE = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
AUTHORIZATION = (
    f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20150830/us-east-1/execute-api/aws4_request, "
    f"SignedHeaders=host;x-amz-date, Signature={SIGNATURE}"
)
