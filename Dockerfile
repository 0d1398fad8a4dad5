# Sallyport's programs on the official Node image. One image for all services of docker-compose.yml: what a container is, its command says.
FROM node:26-slim

WORKDIR /srv/sallyport
COPY package.json package-lock.json ./
# the image is the Node that the checkout pins for other machines, so the development packages stay out
RUN npm ci --omit=dev --no-audit --no-fund && npm cache clean --force

COPY bin bin
COPY db/migrations db/migrations
COPY examples examples
COPY scripts scripts
COPY src src

# A new volume takes over the owner and mode of the folder that it covers. Group 10000: enroll (10001) writes the registry and reads the
# inbox, gateway (10002) reads the registry and writes the inbox. visitor (10003) is neither. signer (10004) is alone with the CA's key and its
# log, and lets in those of its group.
RUN install -d -o 10001 -g 10000 -m 0750 db \
 && install -d -o 10002 -g 10000 -m 0750 inbox \
 && install -d -o 10002 -g 10000 -m 0700 broker \
 && install -d -o 10001 -g 10000 -m 0755 claim \
 && install -d -o 10003 -g 10003 -m 0700 state \
 && install -d -o 10004 -g 10004 -m 0750 socket \
 && install -d -o 10004 -g 10004 -m 0750 log \
 && install -d -m 0755 certs
ENV NODE_ENV=production SALLYPORT_HOME=/srv/sallyport
USER 10003:10003
ENTRYPOINT ["node", "--openssl-config=/srv/sallyport/src/runtime/openssl.cnf"]
