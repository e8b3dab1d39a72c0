// The demo backend of `greenroom serve --dev`, at the address of this page.
export default { server: { proxy: { '/lobby': 'http://127.0.0.1:7465' } } };
