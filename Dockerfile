# syntax=docker/dockerfile:1
# The server, built in one stage and run in another that has neither compiler nor sources.

# The version of rust-toolchain.toml.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
# The image has this toolchain; the file would have rustup fetch it again, with parts that only developers need.
ENV RUSTUP_TOOLCHAIN=1.95.0
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package voip-server --bin voip-server \
    && install -D --strip target/release/voip-server /out/voip-server

FROM debian:bookworm-slim
# curl asks for the health; the certificates are for a PostgreSQL that is reached by TLS.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 voip \
    && useradd --system --uid 10001 --gid voip --no-create-home --home-dir /var/lib/voip --shell /usr/sbin/nologin voip \
    && install --directory --owner=voip --group=voip --mode=0700 /var/lib/voip
COPY --from=build /out/voip-server /usr/local/bin/voip-server
COPY --from=build /src/server.yaml.example /src/LICENSE-APACHE /src/LICENSE-MIT /usr/share/doc/voip-server/

USER 10001:10001
WORKDIR /var/lib/voip
# Certificate, token secret and, without PostgreSQL, the database.
VOLUME /var/lib/voip
ENV VOIP_DATA_DIR=/var/lib/voip
EXPOSE 9000/tcp 9001/udp
STOPSIGNAL SIGTERM
# The certificate is the server's own: on loopback there is nobody to confuse it with.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD curl --silent --fail --insecure --output /dev/null "https://127.0.0.1:${VOIP_SERVER__CONTROL_PORT:-9000}/healthz"
ENTRYPOINT ["voip-server"]
CMD ["serve"]
