// What npm's own verifier says of packages: `npm audit signatures` without its first step, which asks a host of sigstore's.
// Arguments: where pacote is, the registry, its keys as a file, a cache, and options beside the usual ones. Then packages.
const { readFileSync } = require('node:fs')
const [place, registry, keysFile, cache, options, ...packages] = process.argv.slice(2)
const pacote = require(place)
const { host, pathname } = new URL(registry)
const { keys } = JSON.parse(readFileSync(keysFile, 'utf8'))
const pem = ({ key }) => `-----BEGIN PUBLIC KEY-----\n${key}\n-----END PUBLIC KEY-----`
const given = {
  registry, cache, preferOnline: true, fetchRetries: 0,
  [`//${host}${pathname}:_keys`]: keys.map((key) => ({ ...key, pemkey: pem(key) })),
  ...JSON.parse(options),
}
const said = async (name) => {
  try {
    const { _id, _signatures } = await pacote.manifest(name, given)
    return { id: _id, signatures: _signatures.length }
  } catch ({ code, message }) {
    return { code, message }
  }
}
Promise.all(packages.map(said)).then((all) => console.log(JSON.stringify(all)))
