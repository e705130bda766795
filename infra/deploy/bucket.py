"""Uploads a template that is too large for a request to a bucket of the account's own."""

import hashlib
from typing import Any, Final

import botocore.exceptions

from infra.deploy.aws_errors import explained
from infra.deploy.template import Template

_PREFIX: Final = "voice-relay"


def upload_template(s3: Any, bucket: str, template: Template, *, account_id: str | None = None) -> str:
    """Upload the template to *bucket* unless it is there, and return its URL.

    The key is a hash of the content. Only principals with access to the bucket can read it: CloudFormation
    reads it with the caller's own permissions, and S3 encrypts it. With *account_id*, S3 refuses a bucket
    of another account, so that one who took over the bucket's name can neither read nor swap the template.
    """
    body = template.body.encode()
    key = f"{_PREFIX}/{hashlib.sha256(body).hexdigest()}.template"
    where: dict[str, str] = {"Bucket": bucket, "Key": key}
    if account_id is not None:
        where["ExpectedBucketOwner"] = account_id
    with explained(f"bucket {bucket}"):
        if not _is_there(s3, where):
            s3.put_object(Body=body, ContentType="application/x-yaml", **where)
    # Path-style, as in the AWS CLI; CloudFormation accepts no s3:// address.
    return f"{s3.meta.endpoint_url}/{bucket}/{key}"


def _is_there(s3: Any, where: dict[str, str]) -> bool:
    try:
        s3.head_object(**where)
    except botocore.exceptions.ClientError as error:
        # Without permission to list the bucket, S3 answers 403 for a missing key; the upload then reports
        # any real problem. https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in {403, 404}:
            return False
        raise
    return True
