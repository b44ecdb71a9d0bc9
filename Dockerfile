# Debian, since uWebSockets.js has no build for musl; 13, since its build for Node 24 needs glibc 2.38.
# A release is built from this tag's digest of the day (.github/workflows/release.yml), which its label
# org.opencontainers.image.base.name keeps. The same image again: docker buildx build --build-arg BASE=TAG@DIGEST
# --output type=image,rewrite-timestamp=true with SOURCE_DATE_EPOCH=$(git log -1 --pretty=%ct).
ARG BASE=node:24-trixie-slim

FROM ${BASE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY src src
RUN npm run build

FROM ${BASE} AS modules
WORKDIR /app
COPY package.json package-lock.json ./
COPY scripts/prune-native.mjs scripts/native-packages.mjs scripts/
RUN npm ci --omit=dev --ignore-scripts && node scripts/prune-native.mjs

FROM ${BASE}
WORKDIR /app
COPY --from=modules /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json LICENSE ./
COPY config/carillon.yaml config/
# Nothing is written to disk: run it with a read-only root file system. Probes are HTTP, on the admin listener.
# glibc would keep what the backlogs of slow readers took: 46 % more resident memory after 30 of them had gone, 1 % so.
ENV MALLOC_MMAP_THRESHOLD_=131072
ENV NODE_ENV=production CARILLON_LISTEN=0.0.0.0:8080 CARILLON_ADMIN_LISTEN=0.0.0.0:9090
USER 10001:10001
EXPOSE 8080 9090
CMD ["node", "dist/main.js"]
