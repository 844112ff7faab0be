# The image of all roles: one static program, the certificate authorities that it trusts, and the program rsync.
#
# Only endpoints that are rsync:// URLs need rsync. It is a quarter more to download, with its libraries, but there is one
# image, and what can be applied to a cluster works there. Whoever has no such endpoint and does not want to keep OpenSSL
# and the rest free of known holes leaves the folder of programs empty (WITH_RSYNC=0 e2e/build-image.sh).
#
# The context holds all of it, for example:
#   make build && mkdir target/image
#   strip -o target/image/mirrorfleet target/x86_64-unknown-linux-gnu/release/mirrorfleet
#   cp /etc/ssl/certs/ca-certificates.crt target/image/
#   mkdir target/image/programs
#   e2e/collect-program.sh target/image/programs rsync
#   buildah bud -t mirrorfleet:dev -f Dockerfile target/image
FROM scratch
ARG BINARY=mirrorfleet
ARG CA_CERTIFICATES=ca-certificates.crt
ARG PROGRAMS=programs/
LABEL org.opencontainers.image.title="mirrorfleet" \
      org.opencontainers.image.description="Deploys fleets of verified software mirrors" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --chmod=0444 ${CA_CERTIFICATES} /etc/ssl/certs/ca-certificates.crt
COPY ${PROGRAMS} /
COPY --chmod=0555 ${BINARY} /mirrorfleet
ENV PATH=/usr/bin
USER 65532:65532
ENTRYPOINT ["/mirrorfleet"]
