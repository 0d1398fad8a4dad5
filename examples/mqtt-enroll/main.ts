/**
 * A device that speaks nothing but MQTT gets its certificate, or the next one, through the gateway's MQTT door (docs/mqtt-enrollment.md).
 * Key and CSR are made before (openssl genpkey, openssl req -new), and the key never leaves the device; this needs an MQTT client and nothing of
 * Sallyport. The same in a shell: enroll.sh.
 *
 *   node examples/mqtt-enroll/main.ts --url mqtts://localhost:8883 --ca certs/root.pem \
 *     --cert claim.pem --key claim.key --csr device.csr --out device.pem [--group NAME] [--renew]
 */

import { createHash, createPrivateKey, sign } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { connectAsync, type MqttClient } from 'mqtt'

const WITHIN = 30_000

const { values } = parseArgs({
  options: {
    url: { type: 'string', default: 'mqtts://localhost:8883' },
    ca: { type: 'string' },
    cert: { type: 'string' },
    key: { type: 'string' },
    csr: { type: 'string' },
    out: { type: 'string' },
    group: { type: 'string' },
    renew: { type: 'boolean', default: false },
  },
})
const file = (name: 'ca' | 'cert' | 'key' | 'csr'): string => {
  const path = values[name]
  if (path === undefined) throw new Error(`--${name} is missing`)
  return readFileSync(path, 'utf8')
}

type Answer = Readonly<Record<string, unknown>>
type Reply = { readonly topic: string; readonly answer: Answer }

/** One question, and the answer to it: they come one at a time. */
const ask = (client: MqttClient, topic: string, payload: string): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no answer to ${topic}`)), WITHIN)
    client.once('message', (from, bytes) => {
      clearTimeout(late)
      const { topic: at, answer }: Reply = { topic: from, answer: JSON.parse(bytes.toString()) as Answer }
      if (at === `${topic}/accepted`) resolve(answer)
      else reject(new Error(`${String(answer['reason'])}: ${String(answer['detail'])}`))
    })
    client.publish(topic, payload, { qos: 1 })
  })

const digestFor = (curve: string | undefined): string =>
  ({ secp384r1: 'sha384', secp521r1: 'sha512' })[curve ?? ''] ?? 'sha256'

/** SHA-256(CSR in DER) ‖ nonce ‖ group, by the key of the certificate that this connection was made with. */
const proof = (csrPem: string, nonce: string): string => {
  const der = Buffer.from(csrPem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  const octets = Buffer.concat([
    createHash('sha256').update(der).digest(),
    Buffer.from(nonce, 'base64url'),
    Buffer.from(values.group ?? ''),
  ])
  const key = createPrivateKey(file('key'))
  const { asymmetricKeyType, asymmetricKeyDetails } = key
  return sign(
    asymmetricKeyType === 'ed25519' ? null : digestFor(asymmetricKeyDetails?.namedCurve),
    octets,
    key,
  ).toString('base64')
}

const NONCE = '$sallyport/certificates/nonce'
const REQUEST = `$sallyport/certificates/${values.renew ? 'renew' : 'create-from-csr'}`

const once = async (): Promise<Answer> => {
  const client = await connectAsync(values.url, {
    ca: file('ca'),
    cert: file('cert'),
    key: file('key'),
    reconnectPeriod: 0,
    // who renews says its own; of who has a claim certificate it is not looked at
    ...(values.renew ? { clientId: '' } : {}),
  })
  try {
    await client.subscribeAsync(
      [NONCE, REQUEST].flatMap((topic) => [`${topic}/accepted`, `${topic}/rejected`]),
    )
    const { nonce } = await ask(client, NONCE, '')
    const csr = file('csr')
    const request = { csr, nonce, signature: proof(csr, String(nonce)), group: values.group }
    return await ask(client, REQUEST, JSON.stringify(request))
  } finally {
    await client.endAsync()
  }
}

for (;;) {
  const answer = await once()
  if (answer['state'] === 'waiting') {
    const seconds = Number(answer['retry_after'])
    console.error(`an operator is to decide (${String(answer['request_id'])}); asking again in ${seconds} s`)
    await new Promise((resolve) => setTimeout(resolve, seconds * 1_000))
    continue
  }
  const pem = `${String(answer['certificate'])}${String(answer['chain'])}`
  if (values.out === undefined) process.stdout.write(pem)
  else writeFileSync(values.out, pem)
  console.error(`${String(answer['device_id'])}: until ${String(answer['not_after'])}`)
  break
}
