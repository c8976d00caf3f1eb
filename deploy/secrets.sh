#!/bin/sh
# Prints an env file for docker-compose.yml with fresh secrets: sh deploy/secrets.sh > .env
# What the lines mean: deploy/portside.env.example. Never run it over a file that is in use: the key opens the database.
set -eu
umask 077

hex() { head -c "$1" /dev/urandom | od -An -tx1 | tr -d ' \n'; }

cat <<END
COMPOSE_PROFILES=minio
PORTSIDE_SECRET_KEY=$(head -c 32 /dev/urandom | base64 | tr -d '\n')
PORTSIDE_ADMIN_TOKEN=pst_$(hex 32)
POSTGRES_PASSWORD=$(hex 24)
REDIS_PASSWORD=$(hex 24)
PORTSIDE_S3_ACCESS_KEY=portside-$(hex 4)
PORTSIDE_S3_SECRET_KEY=$(hex 24)
END
