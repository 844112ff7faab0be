# The image of all roles: one static program and the certificate authorities that it trusts.
#
# Endpoints that are rsync:// URLs need the program rsync besides. It is left out unless it is asked for: with its
# libraries (OpenSSL among them) it is a quarter more to download and to keep free of known holes, for all roles.
#
# The context holds all of it, for example:
#   make build && mkdir target/image
#   strip -o target/image/mirrorfleet target/x86_64-unknown-linux-gnu/release/mirrorfleet
#   cp /etc/ssl/certs/ca-certificates.crt target/image/
#   mkdir target/image/programs
#   e2e/collect-program.sh target/image/programs rsync    # for rsync:// endpoints
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
