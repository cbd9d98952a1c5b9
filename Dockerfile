# The images of Cogo, a stage for each worker and one for `cogo`; `make release` builds them. No
# heredocs, no mounts and no line that names a syntax: any builder since Docker 20.10 takes it, and none
# has to fetch a newer one.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

# All programs from one build, linked statically, so that most images hold nothing but their program.
# BINARIES=dist takes them from the folder dist/ instead, where there is no network to compile with.
FROM ${RUST_IMAGE} AS programs
ARG BINARIES=compile
WORKDIR /src
COPY . .
RUN set -eu; \
    mkdir -p /out/bin /out/files/etc/ssl/certs /out/toolchain; \
    install -d -m 1777 /out/files/tmp; \
    cp /etc/ssl/certs/ca-certificates.crt /out/files/etc/ssl/certs/; \
    if [ "$BINARIES" = dist ]; then cp dist/* /out/bin/; exit; fi; \
    [ "$BINARIES" = compile ] || { echo "BINARIES is compile or dist, not $BINARIES" >&2; exit 1; }; \
    host=$(rustc -vV | sed -n 's/^host: //p'); \
    packages=$(for worker in workers/*; do printf -- '--package %s ' "${worker#*/}"; done); \
    RUSTFLAGS='-C target-feature=+crt-static' \
        cargo build --release --locked --bins --target "$host" $packages; \
    find "target/$host/release" -maxdepth 1 -type f -executable -exec cp -t /out/bin {} +; \
    cp -a "$(rustc --print sysroot)/." /out/toolchain

# What every static image is: certificates, a place for temporary files, no shell and no root.
FROM scratch AS static
ARG VERSION=v0.0.0
ARG COMPONENT_VERSION=0.0.0
ARG REVISION=
ARG CREATED=
ARG SOURCE=
LABEL org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.created=$CREATED \
      org.opencontainers.image.source=$SOURCE \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.vendor=Cogo \
      cogo.component.version=$COMPONENT_VERSION
COPY --from=programs /out/files/ /
USER 65532:65532

FROM static AS agent-core
LABEL org.opencontainers.image.title=cogo-agent-core cogo.component=agent-core
COPY --from=programs /out/bin/agent-core /usr/local/bin/
EXPOSE 3000
ENTRYPOINT ["/usr/local/bin/agent-core"]

FROM static AS executor-dispatcher
LABEL org.opencontainers.image.title=cogo-executor-dispatcher cogo.component=executor-dispatcher
COPY --from=programs /out/bin/executor-dispatcher /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/executor-dispatcher"]

FROM static AS bus-keeper
LABEL org.opencontainers.image.title=cogo-bus-keeper cogo.component=bus-keeper
COPY --from=programs /out/bin/bus-keeper /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/bus-keeper"]

# What runs programs of others needs a system for them: bubblewrap keeps them apart, with setpriv and
# prlimit, which Debian always has; git fetches repositories, and agents' commands expect it.
FROM ${BASE_IMAGE} AS sandbox
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        bubblewrap ca-certificates git >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log
ARG VERSION=v0.0.0
ARG COMPONENT_VERSION=0.0.0
ARG REVISION=
ARG CREATED=
ARG SOURCE=
LABEL org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.created=$CREATED \
      org.opencontainers.image.source=$SOURCE \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.vendor=Cogo \
      cogo.component.version=$COMPONENT_VERSION
USER 65532:65532

# Templates need no more than this. A command that makes code is added by an image of yours that
# begins with this one.
FROM sandbox AS codegen-worker
LABEL org.opencontainers.image.title=cogo-codegen-worker cogo.component=codegen-worker
COPY --from=programs /out/bin/codegen-worker /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/codegen-worker"]

# What the templates' languages are built and tested with: make and a shell, Python and pytest, Node and
# npm, and Rust as this project is built with, which links with gcc.
FROM sandbox AS toolchains
USER 0:0
ARG TOOLCHAINS="gcc libc6-dev make nodejs npm python3 python3-pytest"
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        $TOOLCHAINS >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log
COPY --from=programs /out/toolchain/ /opt/rust/
ENV PATH=/opt/rust/bin:/usr/local/bin:/usr/bin:/bin
USER 65532:65532

FROM toolchains AS buildtest-worker
LABEL org.opencontainers.image.title=cogo-buildtest-worker cogo.component=buildtest-worker
COPY --from=programs /out/bin/buildtest-worker /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/buildtest-worker"]

# The command line, and every worker in one program.
FROM toolchains AS cogo
LABEL org.opencontainers.image.title=cogo cogo.component=cogo
COPY --from=programs /out/bin/cogo /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/cogo"]

FROM static AS image-controller
LABEL org.opencontainers.image.title=cogo-image-controller cogo.component=image-controller
COPY --from=programs /out/bin/image-controller /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/image-controller"]
