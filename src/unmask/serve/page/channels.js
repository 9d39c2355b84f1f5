// Channels as the page shows them: contrast, range of its controls, visibility.

export function channelStates(meta) {
  return meta.channels.map((channel, number) => {
    const room = channel.high - channel.low;
    const top = channel.top ?? channel.high + room;
    return {
      ...channel, number, visible: true, auto: [channel.low, channel.high],
      narrowest: meta.dtype.startsWith("uint") ? 0 : Math.min(0, channel.low - room),
      widest: Math.max(Math.min(top, channel.high + 2 * room), channel.high),
    };
  });
}
