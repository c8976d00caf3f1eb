# MinIO as a user without rights. Its own image runs as root, and so does its volume; here the folder has an owner.
FROM minio/minio:RELEASE.2025-09-07T16-13-09Z
RUN mkdir /store && chown 10001:10001 /store
USER 10001:10001
ENTRYPOINT ["minio"]
