// Gray values of the image as they are shown, for the tool that fills similar ones.

/** Gray values as they are shown, of the loaded window; null for windows of large planes. */
export async function grayValues(view, editor) {
  const { meta } = editor;
  const { plane } = editor;
  if (meta.levels[view.plane.axis] < 1 || plane.width * plane.height > 4096 * 4096) return null;
  const picture = new OffscreenCanvas(plane.width, plane.height).getContext("2d", { willReadFrequently: true });
  const size = meta.tile;
  const wanted = [];
  for (let row = Math.floor(plane.row / size); row * size < plane.row + plane.height; row += 1) {
    for (let column = Math.floor(plane.column / size); column * size < plane.column + plane.width; column += 1) {
      wanted.push({ level: 0, row, column });
    }
  }
  await Promise.all(wanted.map(async (tile) => {
    const response = await fetch(view.address(tile));
    const bitmap = await createImageBitmap(await response.blob());
    picture.drawImage(bitmap, tile.column * size - plane.column, tile.row * size - plane.row);
  }));
  const { data } = picture.getImageData(0, 0, plane.width, plane.height);
  return Uint8Array.from({ length: plane.width * plane.height }, (_, p) => (data[4 * p] + data[4 * p + 1] + data[4 * p + 2]) / 3);
}
