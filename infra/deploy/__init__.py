"""Deploys the CloudFormation templates with botocore; prints nothing and asks no questions."""
