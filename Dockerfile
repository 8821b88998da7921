# The environment is built in one stage and copied into the next, so that the image holds no build tools' caches.
FROM python:3.12-slim AS build
WORKDIR /app
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements-runtime.lock ./
RUN python -m venv .venv && .venv/bin/pip install --require-hashes --requirement requirements-runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
# In place, as in a checkout: migrations and seeds lie beside src.
RUN .venv/bin/pip install --no-deps --no-build-isolation --editable .

FROM python:3.12-slim
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --no-create-home --shell /usr/sbin/nologin rewards
COPY --from=build /app /app
COPY migrations migrations
COPY seeds seeds
USER rewards
EXPOSE 8000
ENTRYPOINT ["rewards"]
CMD ["serve"]
