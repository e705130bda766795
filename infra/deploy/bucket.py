"""A bucket of the account's own, for a template that is too large to be handed over in a request."""

import hashlib
from typing import Any, Final

import botocore.exceptions

from infra.deploy.aws_errors import explained
from infra.deploy.template import Template

_PREFIX: Final = "voice-relay"


def upload_template(s3: Any, bucket: str, template: Template, *, account_id: str | None = None) -> str:
    """Put the template into *bucket*, once, and return its URL.

    Its key is its content's hash. Nobody but who may read the bucket can read it: CloudFormation reads it
    with the caller's own permissions, and S3 encrypts whatever is put there. With *account_id*, a bucket of
    another account's is refused, so that nobody who got hold of the name gets the template, or swaps it.
    """
    body = template.body.encode()
    key = f"{_PREFIX}/{hashlib.sha256(body).hexdigest()}.template"
    where: dict[str, str] = {"Bucket": bucket, "Key": key}
    if account_id is not None:
        where["ExpectedBucketOwner"] = account_id
    with explained(f"bucket {bucket}"):
        if not _is_there(s3, where):
            s3.put_object(Body=body, ContentType="application/x-yaml", **where)
    # By path, as the AWS command line names it too; CloudFormation takes no s3:// address.
    return f"{s3.meta.endpoint_url}/{bucket}/{key}"


def _is_there(s3: Any, where: dict[str, str]) -> bool:
    try:
        s3.head_object(**where)
    except botocore.exceptions.ClientError as error:
        # Without permission to list the bucket, S3 answers 403 for a key that is not there; then let
        # the upload say what is wrong. https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in {403, 404}:
            return False
        raise
    return True
