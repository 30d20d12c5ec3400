# The light install, without torch. Extras of pyproject.toml are a build argument:
#   docker build --build-arg EXTRAS=postgres --tag loadstar:0.1.0 .
FROM python:3.11-slim AS build
ARG EXTRAS=""
RUN python -m venv /opt/loadstar
WORKDIR /src
# .dockerignore names what this copies.
COPY . .
RUN /opt/loadstar/bin/pip install --no-cache-dir ".${EXTRAS:+[$EXTRAS]}"

FROM python:3.11-slim
# The uid is fixed, so that files on shared volumes keep their owner from image to image.
RUN groupadd --gid 10001 loadstar \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp \
        --shell /usr/sbin/nologin loadstar \
    && install --directory --owner=10001 --group=10001 /data
COPY --from=build /opt/loadstar /opt/loadstar
ENV PATH=/opt/loadstar/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LOADSTAR_DATA_DIR=/data \
    LOADSTAR_HOST=0.0.0.0 \
    LOADSTAR_PORT=8080
USER 10001:10001
VOLUME /data
EXPOSE 8080
# With trust_env, an HTTP_PROXY of the environment would be asked for 127.0.0.1.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import httpx; httpx.get('http://127.0.0.1:8080/healthz', timeout=3, trust_env=False).raise_for_status()"]
ENTRYPOINT ["loadstar"]
CMD ["serve"]
