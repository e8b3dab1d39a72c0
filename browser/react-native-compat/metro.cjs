/**
 * For metro.config.js: `module.exports = withGreenroom(config)`. Where @dolbyio/comms-sdk-react-native asks for
 * 'react-native', it gets it with Greenroom's native modules; everybody else gets what they asked for.
 */
const PACKAGE = /[\\/]node_modules[\\/]@dolbyio[\\/]comms-sdk-react-native[\\/]/;
const SHIM = '@greenroom/react-native-compat/react-native';

const withGreenroom = (config) => {
  const before = config.resolver?.resolveRequest;
  const resolveRequest = (context, name, platform) => {
    const asked = name === 'react-native' && PACKAGE.test(context.originModulePath) ? SHIM : name;
    return (before ?? context.resolveRequest)(context, asked, platform);
  };
  return {
    ...config,
    resolver: { ...config.resolver, resolveRequest, unstable_enablePackageExports: true },
  };
};

module.exports = { withGreenroom };
